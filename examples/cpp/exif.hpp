// The orientation a camera wrote beside the pixels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "resize.hpp"

// Tag 0x0112 of an APP1 segment (1 … 8), 0 when the segment has none. Exif 2.32, section 4.6.
int exif_orientation(const std::uint8_t *segment, std::size_t size);

// The image as it is to be seen.
Image upright(Image image, int orientation);
