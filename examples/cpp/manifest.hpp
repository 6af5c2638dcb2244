// What a program needs to know of a bundle, from its manifest alone.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "resize.hpp"

struct Model {
    std::string variant;
    std::filesystem::path file;
    int threads = 0;       // 0: ONNX Runtime decides
    bool quantised = false;
    std::string input;     // uint8, (batch, height, width, 3)
    std::vector<std::string> labels;
    ImageInput image;
};

// The bundle's ONNX Runtime variant for a processor: `variant`, or the first that did not fail when it is empty.
// Throws std::runtime_error: no bundle, a newer schema, no such variant, a file of another size or outside the bundle.
Model read_manifest(const std::filesystem::path &bundle, const std::string &variant);
