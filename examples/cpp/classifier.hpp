// One variant, opened with ONNX Runtime's C API.
#pragma once

#include <memory>
#include <vector>

#include "manifest.hpp"

class Classifier {
public:
    // Throws std::runtime_error with ONNX Runtime's words.
    explicit Classifier(const Model &model);
    ~Classifier();
    Classifier(const Classifier &) = delete;
    Classifier &operator=(const Classifier &) = delete;

    // One probability for each label, for one prepared image.
    std::vector<float> probabilities(const Image &image);

private:
    struct Handles;
    Model model_;
    std::unique_ptr<Handles> handles_;
};
