// Antialiased resampling in fixed point: the filter widens with the reduction, columns first, then rows.
//
// Pillow's documentation describes the method ("Concepts: filters"); the arithmetic here is 8-bit in, 8-bit out
// after each pass, with weights of 22 fractional bits, so that both give the same bytes.

#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace {

constexpr int FRACTION = 22;

struct Filter {
    double (*weight)(double);
    double radius;
};

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

// Keys' cubic convolution with a = -0.5.
double cubic(double x) {
    x = std::abs(x);
    if (x < 1.0) return ((1.5 * x) - 2.5) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}

// The source pixels that make one target pixel: `weights.size()` of them from `first` on.
struct Taps {
    int first;
    std::vector<std::int32_t> weights;
};

std::vector<Taps> taps(int source, float from, float to, int target, const Filter &filter) {
    const double scale = static_cast<double>(to - from) / target;
    const double widening = std::max(scale, 1.0);
    const double reach = filter.radius * widening;
    std::vector<Taps> all(target);
    for (int i = 0; i < target; ++i) {
        const double centre = from + (i + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(centre - reach + 0.5));
        const int last = std::min(source, static_cast<int>(centre + reach + 0.5));
        std::vector<double> exact(std::max(0, last - first));
        double sum = 0.0;
        for (std::size_t k = 0; k < exact.size(); ++k) {
            exact[k] = filter.weight((static_cast<double>(k) + first - centre + 0.5) * (1.0 / widening));
            sum += exact[k];
        }
        all[i].first = first;
        for (double weight : exact) {
            const double fixed = (sum != 0.0 ? weight / sum : weight) * (1 << FRACTION);
            all[i].weights.push_back(static_cast<std::int32_t>(fixed + (fixed < 0 ? -0.5 : 0.5)));
        }
    }
    return all;
}

std::uint8_t rounded(std::int64_t sum) {
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> FRACTION, 0, 255));
}

Image columns(const Image &image, const std::vector<Taps> &taps) {
    Image result{static_cast<int>(taps.size()), image.height, {}};
    result.pixels.resize(std::size_t{3} * result.width * result.height);
    std::size_t at = 0;
    for (int y = 0; y < image.height; ++y) {
        for (const Taps &tap : taps) {
            const std::uint8_t *source = &image.pixels[3 * (std::size_t(y) * image.width + tap.first)];
            std::int64_t sum[3] = {1 << (FRACTION - 1), 1 << (FRACTION - 1), 1 << (FRACTION - 1)};
            for (std::int32_t weight : tap.weights)
                for (std::int64_t &channel : sum) channel += std::int64_t{weight} * *source++;
            for (std::int64_t channel : sum) result.pixels[at++] = rounded(channel);
        }
    }
    return result;
}

// `offset`: the row of the original that is row 0 of `image`.
Image rows(const Image &image, const std::vector<Taps> &taps, int offset) {
    Image result{image.width, static_cast<int>(taps.size()), {}};
    const std::size_t stride = std::size_t{3} * image.width;
    result.pixels.resize(stride * taps.size());
    std::vector<std::int64_t> sums(stride);
    for (std::size_t y = 0; y < taps.size(); ++y) {
        std::fill(sums.begin(), sums.end(), 1 << (FRACTION - 1));
        const std::uint8_t *source = &image.pixels[stride * (taps[y].first - offset)];
        for (std::int32_t weight : taps[y].weights)
            for (std::int64_t &sum : sums) sum += std::int64_t{weight} * *source++;
        std::transform(sums.begin(), sums.end(), &result.pixels[stride * y], rounded);
    }
    return result;
}

Image rows_between(const Image &image, int first, int last) {
    const std::size_t stride = std::size_t{3} * image.width;
    const std::uint8_t *start = image.pixels.data() + stride * first;
    return {image.width, last - first, {start, start + stride * (last - first)}};
}

// Pillow takes the box in single precision. Each pass rounds to 8 bit, so their order shows in the last bit.
Image resample(const Image &image, const Box &box, const ImageInput &input, const Filter &filter) {
    const auto left = static_cast<float>(box[0]), top = static_cast<float>(box[1]);
    const auto right = static_cast<float>(box[2]), bottom = static_cast<float>(box[3]);
    const int width = input.width, height = input.height;
    const bool across = width != image.width || left != 0.0F || right != static_cast<float>(width);
    const bool down = height != image.height || top != 0.0F || bottom != static_cast<float>(height);
    const std::vector<Taps> horizontal = taps(image.width, left, right, width, filter);
    const std::vector<Taps> vertical = taps(image.height, top, bottom, height, filter);
    const bool taller = height < image.height && image.height - height > 2 * (image.width - width);
    if (!down) return across ? columns(image, horizontal) : image;
    if (!across) return rows(image, vertical, 0);
    if (input.tall_rows_first && taller) return columns(rows(image, vertical, 0), horizontal);
    const int first = vertical.front().first;  // only the rows that the second pass reads
    const int last = vertical.back().first + static_cast<int>(vertical.back().weights.size());
    return rows(columns(rows_between(image, first, last), horizontal), vertical, first);
}

Image nearest(const Image &image, const Box &box, int width, int height) {
    const auto left = static_cast<float>(box[0]), top = static_cast<float>(box[1]);
    const double across = (static_cast<float>(box[2]) - left) / static_cast<double>(width);
    const double down = (static_cast<float>(box[3]) - top) / static_cast<double>(height);
    Image result{width, height, {}};
    double row = top + down * 0.5;
    for (int y = 0; y < height; ++y, row += down) {
        double column = left + across * 0.5;
        for (int x = 0; x < width; ++x, column += across) {
            const auto at = 3 * (static_cast<std::size_t>(row) * image.width + static_cast<std::size_t>(column));
            result.pixels.insert(result.pixels.end(), &image.pixels[at], &image.pixels[at] + 3);
        }
    }
    return result;
}

}  // namespace

Box crop_box(int width, int height, const ImageInput &input) {
    const int sides[2] = {width, height}, crop[2] = {input.width, input.height};
    Box box{};
    for (int axis = 0; axis < 2; ++axis) {
        const auto exact = static_cast<std::int64_t>(input.resize) * sides[axis] / std::min(width, height);
        const auto resized = static_cast<double>(std::max<std::int64_t>(input.resize, exact));
        const double start = std::nearbyint((resized - crop[axis]) / 2);  // halves to even, as Python rounds
        const double scale = sides[axis] / resized;
        box[axis] = start * scale;
        box[axis + 2] = std::min<double>(sides[axis], (start + crop[axis]) * scale);
    }
    return box;
}

Image prepare(const Image &image, const ImageInput &input) {
    const Box whole{0.0, 0.0, static_cast<double>(image.width), static_cast<double>(image.height)};
    const Box box = input.crop ? crop_box(image.width, image.height, input) : whole;
    if (input.interpolation == "nearest") return nearest(image, box, input.width, input.height);
    if (input.interpolation == "bilinear") return resample(image, box, input, {triangle, 1.0});
    if (input.interpolation == "bicubic") return resample(image, box, input, {cubic, 2.0});
    throw std::invalid_argument("the interpolation `" + input.interpolation + "` is none of nearest, bilinear, bicubic");
}
