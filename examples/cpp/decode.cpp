#include "decode.hpp"

#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which needs FILE
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <jpeglib.h>
#include <jerror.h>  // after it
#include <png.h>

#include "exif.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t MAX_PIXELS = 89'478'485;  // edgetl refuses larger images too
constexpr std::uintmax_t MAX_BYTES = 256U << 20U;

Bytes read(const std::string &path) {
    std::ifstream stream(path, std::ios::binary | std::ios::ate);
    if (!stream) throw std::runtime_error("it cannot be opened");
    if (static_cast<std::uintmax_t>(stream.tellg()) > MAX_BYTES) throw std::runtime_error("the file is larger than 256 MiB");
    stream.seekg(0);
    return {std::istreambuf_iterator<char>(stream), {}};
}

Image empty(std::uint64_t width, std::uint64_t height) {
    if (width * height > MAX_PIXELS) throw std::runtime_error("it has more than 89478485 pixels");
    return {static_cast<int>(width), static_cast<int>(height), Bytes(3 * width * height)};
}

// libjpeg reports by longjmp; nothing with a destructor is made between setjmp and the jump.
struct JpegErrors {
    jpeg_error_mgr base;
    std::jmp_buf exit;
    char message[JMSG_LENGTH_MAX];
};

void give_up(j_common_ptr state) {
    auto *errors = reinterpret_cast<JpegErrors *>(state->err);
    state->err->format_message(state, errors->message);
    std::longjmp(errors->exit, 1);
}

// A file that ends too early is only a warning to libjpeg; here it is an error, as it is for edgetl.
void warn(j_common_ptr state, int level) {
    if (level < 0 && state->err->msg_code == JWRN_JPEG_EOF) give_up(state);
}

bool read_header(jpeg_decompress_struct &jpeg, JpegErrors &errors, const Bytes &bytes) {
    if (setjmp(errors.exit) != 0) return false;
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, bytes.data(), bytes.size());
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
    return true;
}

bool read_rows(jpeg_decompress_struct &jpeg, JpegErrors &errors, Image &image) {
    if (setjmp(errors.exit) != 0) return false;
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = &image.pixels[std::size_t{3} * jpeg.output_width * jpeg.output_scanline];
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    return true;
}

int orientation_of(const jpeg_decompress_struct &jpeg) {
    for (const jpeg_marker_struct *marker = jpeg.marker_list; marker != nullptr; marker = marker->next)
        if (const int found = exif_orientation(marker->data, marker->data_length); found != 0) return found;
    return 1;
}

Image decode_jpeg(const Bytes &bytes) {
    jpeg_decompress_struct jpeg{};
    JpegErrors errors{};
    jpeg.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = give_up;
    errors.base.emit_message = warn;
    struct Owner {
        jpeg_decompress_struct &jpeg;
        ~Owner() { jpeg_destroy_decompress(&jpeg); }
    } owner{jpeg};
    if (!read_header(jpeg, errors, bytes)) throw std::runtime_error(errors.message);
    if (jpeg.num_components != 1 && jpeg.num_components != 3) throw std::runtime_error("CMYK is not supported here");
    const int orientation = orientation_of(jpeg);  // finishing frees the markers
    Image image = empty(jpeg.image_width, jpeg.image_height);
    if (!read_rows(jpeg, errors, image)) throw std::runtime_error(errors.message);
    return upright(std::move(image), orientation);
}

[[noreturn]] void refuse(png_structp, png_const_charp message) { throw std::runtime_error(message); }
void ignore(png_structp, png_const_charp) {}  // chunks that do not concern the pixels

struct Reader {
    const Bytes &bytes;
    std::size_t at;
};

void copy(png_structp png, png_bytep target, std::size_t count) {
    auto *reader = static_cast<Reader *>(png_get_io_ptr(png));
    if (count > reader->bytes.size() - reader->at) png_error(png, "the file is truncated");
    std::memcpy(target, &reader->bytes[reader->at], count);
    reader->at += count;
}

// Over white, rounded to the nearest level.
std::uint8_t over_white(std::uint8_t value, std::uint8_t alpha) {
    return static_cast<std::uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

Image from_rows(const Bytes &rows, std::size_t stride, Image image, bool grey16) {
    for (int y = 0; y < image.height; ++y) {
        const std::uint8_t *source = &rows[stride * y];
        std::uint8_t *target = &image.pixels[std::size_t{3} * image.width * y];
        for (int x = 0; x < image.width; ++x, target += 3) {
            if (grey16) {
                std::memset(target, (source[2 * x] * 256 + source[2 * x + 1]) / 257, 3);
            } else {
                for (int c = 0; c < 3; ++c) target[c] = over_white(source[4 * x + c], source[4 * x + 3]);
            }
        }
    }
    return image;
}

Image decode_png(const Bytes &bytes) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, refuse, ignore);
    png_infop info = png_create_info_struct(png);
    struct Owner {
        png_structp &png;
        png_infop &info;
        ~Owner() { png_destroy_read_struct(&png, &info, nullptr); }
    } owner{png, info};
    Reader reader{bytes, 0};
    png_set_read_fn(png, &reader, copy);
    png_read_info(png, info);
    const auto type = png_get_color_type(png, info);
    const bool transparent = (type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    const bool grey16 = type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16 && !transparent;
    if (!grey16) {
        png_set_expand(png);
        png_set_strip_16(png);
        png_set_gray_to_rgb(png);
        png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    Image image = empty(png_get_image_width(png, info), png_get_image_height(png, info));
    const std::size_t stride = png_get_rowbytes(png, info);
    Bytes rows(stride * image.height);
    std::vector<png_bytep> starts;
    for (int y = 0; y < image.height; ++y) starts.push_back(&rows[stride * y]);
    png_read_image(png, starts.data());
    png_read_end(png, nullptr);
    return from_rows(rows, stride, std::move(image), grey16);
}

}  // namespace

Image decode(const std::string &path) {
    try {
        const Bytes bytes = read(path);
        if (bytes.size() > 3 && bytes[0] == 0xFF && bytes[1] == 0xD8) return decode_jpeg(bytes);
        if (bytes.size() > 8 && png_sig_cmp(bytes.data(), 0, 8) == 0) return decode_png(bytes);
        throw std::runtime_error("it is neither JPEG nor PNG");
    } catch (const std::exception &error) {
        throw std::runtime_error("`" + path + "` cannot be decoded: " + error.what());
    }
}
