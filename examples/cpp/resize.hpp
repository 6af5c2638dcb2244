// The resize every model of edgetl was trained and judged with, without Pillow.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

// 8-bit RGB, rows from the top, no padding.
struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> pixels;
};

// `task.input` of manifest.json.
struct ImageInput {
    int height = 0;
    int width = 0;
    int resize = 0;
    bool crop = true;  // else the image is stretched
    std::string interpolation = "bilinear";
    bool tall_rows_first = true;  // Pillow 13 resizes tall images rows first, earlier ones columns first
};

// Left, top, right, bottom in the coordinates of the source.
using Box = std::array<double, 4>;

// The centre crop of an image whose shorter side is resized to `input.resize`.
Box crop_box(int width, int height, const ImageInput &input);

// What the graph reads, `input.width` × `input.height`. Throws std::invalid_argument for an unknown interpolation.
Image prepare(const Image &image, const ImageInput &input);
