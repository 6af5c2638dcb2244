#include "classifier.hpp"

#include <array>
#include <stdexcept>
#include <string>

#include <onnxruntime_c_api.h>

namespace {

constexpr const char *OUTPUT = "probabilities";  // every bundle of image classification has it

const OrtApi &api() {
    static const OrtApi *const found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (found == nullptr)
        throw std::runtime_error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                                 " is older than the header this program was compiled with");
    return *found;
}

void check(OrtStatus *status) {
    if (status == nullptr) return;
    const std::string message = api().GetErrorMessage(status);
    api().ReleaseStatus(status);
    throw std::runtime_error("ONNX Runtime: " + message);
}

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T *)>;

// Without VNNI, kernels for AVX2 add products of bytes in 16 bits, which clips; edgetl avoids them, so do we (where there is only AVX-VNNI, to no
// purpose: slower, the same answers).
bool clips_sums() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("avx512vnni") == 0;
#else
    return false;
#endif
}

}  // namespace

struct Classifier::Handles {
    OrtEnv *environment = nullptr;
    OrtSessionOptions *options = nullptr;
    OrtSession *session = nullptr;
    OrtMemoryInfo *memory = nullptr;

    ~Handles() {
        if (memory != nullptr) api().ReleaseMemoryInfo(memory);
        if (session != nullptr) api().ReleaseSession(session);
        if (options != nullptr) api().ReleaseSessionOptions(options);
        if (environment != nullptr) api().ReleaseEnv(environment);
    }
};

Classifier::Classifier(const Model &model) : model_(model), handles_(std::make_unique<Handles>()) {
    check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "edgetl", &handles_->environment));
    check(api().CreateSessionOptions(&handles_->options));
    check(api().SetIntraOpNumThreads(handles_->options, model.threads));
    if (model.quantised && clips_sums())
        check(api().AddSessionConfigEntry(handles_->options, "session.x64quantprecision", "1"));
    check(api().CreateSession(handles_->environment, model.file.c_str(), handles_->options, &handles_->session));
    check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &handles_->memory));
}

Classifier::~Classifier() = default;

std::vector<float> Classifier::probabilities(const Image &image) {
    const std::array<std::int64_t, 4> shape{1, image.height, image.width, 3};
    // the tensor borrows the pixels; ONNX Runtime only reads an input
    auto *pixels = const_cast<std::uint8_t *>(image.pixels.data());
    OrtValue *input = nullptr, *output = nullptr;
    check(api().CreateTensorWithDataAsOrtValue(handles_->memory, pixels, image.pixels.size(), shape.data(), shape.size(),
                                               ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &input));
    const Owned<OrtValue> owned_input(input, api().ReleaseValue);
    const char *const inputs[] = {model_.input.c_str()}, *const outputs[] = {OUTPUT};
    check(api().Run(handles_->session, nullptr, inputs, &input, 1, outputs, 1, &output));
    const Owned<OrtValue> owned_output(output, api().ReleaseValue);
    float *values = nullptr;
    check(api().GetTensorMutableData(output, reinterpret_cast<void **>(&values)));
    return {values, values + model_.labels.size()};
}
