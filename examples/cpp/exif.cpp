#include "exif.hpp"

#include <cstring>

int exif_orientation(const std::uint8_t *segment, std::size_t size) {
    if (size < 14 || std::memcmp(segment, "Exif\0\0", 6) != 0) return 0;
    const std::uint8_t *tiff = segment + 6;
    const std::size_t room = size - 6;
    const bool little = tiff[0] == 'I';
    const auto number = [&](std::size_t at, std::size_t bytes) {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8U | tiff[at + (little ? bytes - 1 - i : i)];
        return value;
    };
    const std::size_t directory = number(4, 4);
    if (directory + 2 > room) return 0;
    const std::size_t entries = number(directory, 2);
    for (std::size_t i = 0, at = directory + 2; i < entries && at + 12 <= room; ++i, at += 12)
        if (number(at, 2) == 0x0112) return static_cast<int>(number(at + 8, 2));
    return 0;
}

Image upright(Image image, int orientation) {
    if (orientation < 2 || orientation > 8) return image;
    const bool turned = orientation > 4;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    Image result{turned ? image.height : image.width, turned ? image.width : image.height, {}};
    result.pixels.resize(image.pixels.size());
    std::uint8_t *target = result.pixels.data();
    for (int y = 0; y < result.height; ++y) {
        for (int x = 0; x < result.width; ++x, target += 3) {
            const int across = turned ? y : x, down = turned ? x : y;
            const int column = from_right ? image.width - 1 - across : across;
            const int row = from_bottom ? image.height - 1 - down : down;
            std::memcpy(target, &image.pixels[3 * (std::size_t(row) * image.width + column)], 3);
        }
    }
    return result;
}
