// pixels BUNDLE IMAGE > FILE: what the graph reads, uint8 RGB, to compare with edgetl's own. Needs no ONNX Runtime.

#include <exception>
#include <iostream>

#include "decode.hpp"
#include "manifest.hpp"

int main(int count, char **arguments) {
    if (count != 3) {
        std::cerr << "usage: pixels BUNDLE IMAGE > FILE\n";
        return 2;
    }
    try {
        const Image image = prepare(decode(arguments[2]), read_manifest(arguments[1], "").image);
        std::cout.write(reinterpret_cast<const char *>(image.pixels.data()),
                        static_cast<std::streamsize>(image.pixels.size()));
        return std::cout.flush() ? 0 : 1;
    } catch (const std::exception &error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
