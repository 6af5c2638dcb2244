// From an encoded JPEG or PNG to upright 8-bit RGB.
#pragma once

#include <string>

#include "resize.hpp"

// As edgetl decodes: EXIF orientation applied, transparent pixels on white, 16-bit grey scaled down.
// Throws std::runtime_error for a file that is missing, broken, too large, CMYK, or neither JPEG nor PNG.
Image decode(const std::string &path);
