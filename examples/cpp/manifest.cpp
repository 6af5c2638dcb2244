#include "manifest.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int MAJOR = 1;

json parsed(const fs::path &path) {
    std::ifstream stream(path);
    if (!stream) throw std::runtime_error("`" + path.string() + "` cannot be opened");
    return json::parse(stream);
}

bool usable(const json &variant, const std::string &wanted) {
    const json options = variant.value("options", json::object());
    if (variant.at("engine") != "onnxruntime" || options.value("provider", "cpu") != "cpu") return false;
    return wanted.empty() ? variant.at("status") != "failed" : variant.at("id") == wanted;
}

// The file whose path stays inside the bundle and whose size is the manifest's. Its SHA-256 is for edgetl to compare.
fs::path listed(const fs::path &bundle, const json &manifest, const std::string &relative) {
    const fs::path path = fs::weakly_canonical(bundle / relative), root = fs::weakly_canonical(bundle);
    if (std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first != root.end())
        throw std::runtime_error("the path `" + relative + "` leaves the bundle");
    for (const json &record : manifest.at("files"))
        if (record.at("path") == relative && fs::file_size(path) == record.at("size").get<std::uintmax_t>()) return path;
    throw std::runtime_error("`" + path.string() + "` is not as the manifest says");
}

// Pillow's major version in "Pillow 13.0.0, libjpeg 6.2"; the newest when the bundle does not say.
bool made_by_pillow_13(const std::string &decoder) {
    const std::string name = "Pillow ";
    return decoder.rfind(name, 0) != 0 || std::stoi(decoder.substr(name.size())) >= 13;
}

ImageInput image_input(const json &manifest) {
    const json &input = manifest.at("task").at("input");
    if (input.at("mode") != "crop" && input.at("mode") != "squash")
        throw std::runtime_error("this program does not resize by `" + input.at("mode").get<std::string>() + "`");
    return {input.at("height"), input.at("width"), input.at("resize"), input.at("mode") == "crop",
            input.at("interpolation"), made_by_pillow_13(manifest.at("golden").value("decoder", ""))};
}

Model model_of(const fs::path &bundle, const json &manifest, const std::string &wanted) {
    const std::string schema = manifest.at("schema");
    if (std::stoi(schema) > MAJOR) throw std::runtime_error("schema `" + schema + "` is newer than this program");
    if (manifest.at("task").at("task") != "image-classification") throw std::runtime_error("it classifies no images");
    for (const json &variant : manifest.at("variants")) {
        if (!usable(variant, wanted)) continue;
        Model model;
        model.variant = variant.at("id");
        model.file = listed(bundle, manifest, variant.at("files").at(0));
        model.threads = variant.value("options", json::object()).value("threads", 0);
        model.quantised = variant.at("precision") == "int8";
        model.input = manifest.at("inputs").at(0).at("name");
        model.labels = manifest.at("task").at("labels").get<std::vector<std::string>>();
        model.image = image_input(manifest);
        return model;
    }
    throw std::runtime_error("it has no ONNX Runtime variant" + (wanted.empty() ? "" : " `" + wanted + "`"));
}

}  // namespace

Model read_manifest(const fs::path &bundle, const std::string &variant) {
    try {
        return model_of(bundle, parsed(bundle / "manifest.json"), variant);
    } catch (const std::exception &error) {
        throw std::runtime_error("the bundle `" + bundle.string() + "`: " + error.what());
    }
}
