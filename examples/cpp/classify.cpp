// classify [--variant ID] BUNDLE IMAGE…: one JSON line for each image, best label first.

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "classifier.hpp"
#include "decode.hpp"

namespace {

nlohmann::ordered_json answer(const std::string &path, const Model &model, const std::vector<float> &probabilities) {
    std::vector<std::size_t> order(probabilities.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
    order.resize(std::min<std::size_t>(order.size(), 5));
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (std::size_t i : order) top.push_back({{"label", model.labels[i]}, {"probability", probabilities[i]}});
    return {{"path", path}, {"top", top}};
}

// A broken image costs its own line, not the others'.
int classify(const std::string &bundle, const std::string &variant, const std::vector<std::string> &paths) {
    const Model model = read_manifest(bundle, variant);
    Classifier classifier(model);
    int code = 0;
    for (const std::string &path : paths) {
        try {
            const Image image = prepare(decode(path), model.image);
            std::cout << answer(path, model, classifier.probabilities(image)).dump() << std::endl;
        } catch (const std::exception &error) {
            std::cerr << "error: " << error.what() << '\n';
            code = 5;
        }
    }
    return code;
}

}  // namespace

int main(int count, char **values) {
    std::vector<std::string> arguments(values + 1, values + count);
    std::string variant;
    if (arguments.size() > 1 && arguments[0] == "--variant") {
        variant = arguments[1];
        arguments.erase(arguments.begin(), arguments.begin() + 2);
    }
    if (arguments.size() < 2) {
        std::cerr << "usage: classify [--variant ID] BUNDLE IMAGE…\n";
        return 2;
    }
    // from 1.29 on, ONNX Runtime writes down and sends what it ran, unless told not to before it starts
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    try {
        return classify(arguments[0], variant, {arguments.begin() + 1, arguments.end()});
    } catch (const std::exception &error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
