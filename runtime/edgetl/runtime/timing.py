"""What measured times say about a percentile and about "slower than": bounds that know queries are not independent.

Times are milliseconds of shape (launches, blocks, queries). Neighbouring queries share the state of the machine, and
the queries of one launch share a process, so a launch counts once, however many queries it answered.
Bounds are one-sided, each at 1 − alpha.

References: Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013 (launches as the unit);
Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 (resampling nested data);
Hodges & Lehmann, "Estimates of location based on rank tests", Annals of Mathematical Statistics 34 (1963);
Tukey & McLaughlin, "Less vulnerable confidence and significance procedures", Sankhyā A 25 (1963), and Yuen, "The
two-sample trimmed t for unequal population variances", Biometrika 61 (1974);
Hahn & Meeker, "Statistical Intervals", 1991, section 5.2 (order statistics as bounds of a percentile);
Schmeiser, "Batch Size Effects in the Analysis of Simulation Output", Operations Research 30 (1982).
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from edgetl.errors import ConfigError
from edgetl.types import Array

ALPHA = 0.05
DRAWS = 1000
FEW = 5
"""So many batches must be left to tell their spread."""

PARTNERS = 16
"""Each query of one subject is compared with up to so many of the other's in the same block."""

TRIMMED = 6
"""From so many launches on, the ratio leaves out the lowest and the highest."""

_FINEST = 1e-6
"""One nanosecond in ms: a coarse clock may say zero, which has no logarithm."""


class Percentile(msgspec.Struct, frozen=True, kw_only=True):
    """A percentile in ms with its bounds; `high` is None where there are too few queries for one."""

    value: float
    low: float
    high: float | None


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times as long the second subject takes, with its bounds."""

    value: float
    low: float
    high: float


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What launches have in common, with its bounds; in the unit of their values."""

    value: float
    low: float
    high: float


def percentile_interval(times: Array, q: float, alpha: float = ALPHA) -> Percentile:
    """The quantile `q` (0 … 1) of all times, shape (launches, blocks, queries) in ms, and its bounds.

    One launch: distribution-free order statistics (Hahn & Meeker), their binomial spread widened by what the means of
    blocks show of autocorrelation (Schmeiser); they hold for this launch only. Several: launches, and blocks in them,
    are resampled, and Student's t with launches − 1 degrees scales the standard error of the logarithm.
    Raises ConfigError for less than two blocks.
    """
    times = _checked(times)
    if len(times) == 1:
        return _order_bounds(times[0], q, alpha)
    log_value = float(np.log(np.quantile(times, q)))
    width = t_quantile(1 - alpha, len(times) - 1) * _percentile_error(times, q)
    bounded = q**times.size <= alpha
    high = math.exp(log_value + width) if bounded else None
    return Percentile(value=math.exp(log_value), low=math.exp(log_value - width), high=high)


def percentile_p_value(times: Array, q: float, most: float) -> float:
    """One-sided p-value of "the quantile `q` is at most `most` ms"; small when it is clearly above.

    `times`: shape (launches, blocks, queries) in ms, at least two launches. Below alpha exactly when
    `percentile_interval(…, alpha).low` is above `most`.
    """
    times = _checked(times, launches=2)
    distance, error = math.log(float(np.quantile(times, q)) / most), _percentile_error(times, q)
    if error == 0:
        return float(distance <= 0)
    return 1 - t_cdf(distance / error, len(times) - 1)


def ratio(times_a: Array, times_b: Array, q: float = 0.5, alpha: float = ALPHA) -> Ratio:
    """The quantile `q` of b over that of a, both measured in the same launches and blocks, and its bounds.

    Shapes (launches, blocks, queries) in ms, the same for both. For the median a launch says what queries of b take
    over queries of a in the same block, the median of all such pairs (Hodges & Lehmann). On a busy machine queries
    take either their time or twice that, and a quotient of medians jumps between the two; most pairs do not. So it
    is how much slower queries are, not how many more are disturbed; ask a high `q` for those, which is a quotient of
    the launch's quantiles. The trimmed mean over launches is bounded with Student's t, as many degrees as launches
    count, less one (Tukey & McLaughlin; Yuen).
    Raises ConfigError for less than two launches or blocks, or for different shapes.
    """
    log_value, error, degrees = _log_ratio(times_a, times_b, q)
    width = t_quantile(1 - alpha, degrees) * error
    return Ratio(value=math.exp(log_value), low=math.exp(log_value - width), high=math.exp(log_value + width))


def ratio_p_value(times_a: Array, times_b: Array, margin: float, q: float = 0.5) -> float:
    """One-sided p-value of "b takes at most 1 + `margin` times as long as a"; small when b is clearly slower.

    Below alpha exactly when `ratio(…, alpha).low` is above 1 + `margin`. Shapes, units and errors as `ratio`.
    """
    log_value, error, degrees = _log_ratio(times_a, times_b, q)
    distance = log_value - math.log1p(margin)
    if error == 0:
        return float(distance <= 0)
    return 1 - t_cdf(distance / error, degrees)


def level(values: Array, alpha: float = ALPHA) -> Level:
    """The geometric mean of one positive value a launch, shape (launches,), and its bounds, as `ratio` has them.

    Raises ConfigError for less than two launches.
    """
    log_value, error, degrees = _trimmed_mean(np.log(_launched(values)))
    width = t_quantile(1 - alpha, degrees) * error
    return Level(value=math.exp(log_value), low=math.exp(log_value - width), high=math.exp(log_value + width))


def level_p_value(values: Array, most: float) -> float:
    """One-sided p-value of "the level is at most `most`"; below alpha exactly when `level(…, alpha).low` is above it.

    Ask `level_p_value(1 / values, 1 / least)` for "at least".
    """
    log_value, error, degrees = _trimmed_mean(np.log(_launched(values)))
    distance = log_value - math.log(most)
    if error == 0:
        return float(distance <= 0)
    return 1 - t_cdf(distance / error, degrees)


def t_cdf(t: float, degrees: int) -> float:
    """Student's t: P(T ≤ t). Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= step / (step + 1) * math.cos(angle) ** 2
    total *= math.sin(angle)
    return 0.5 + ((angle + total) / math.pi if odd else total / 2)


def t_quantile(p: float, degrees: int) -> float:
    """The t with P(T ≤ t) = p, by bisection; it is exact to 1e-9 of itself."""
    if p < 0.5:
        return -t_quantile(1 - p, degrees)
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < p:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, degrees) < p else (low, middle)
    return high


def _log_ratio(times_a: Array, times_b: Array, q: float) -> tuple[float, float, int]:
    """The log ratio, its standard error and the degrees of freedom."""
    times_a, times_b = _checked(times_a, launches=2), _checked(times_b, launches=2)
    if times_a.shape != times_b.shape:
        raise ConfigError(
            f"times of shapes {times_a.shape} and {times_b.shape} cannot be compared",
            hint="measure both subjects in the same launches",
        )
    return _trimmed_mean(_launch_ratios(np.log(times_a), np.log(times_b), q))


def _trimmed_mean(values: Array) -> tuple[float, float, int]:
    """Mean without the lowest and the highest of at least six values, its standard error, the degrees of freedom.

    In a launch one subject's thread may sit on a busy core and the other's not, for as long as the launch lasts.
    Such a factor of two would hide 10 % in any mean. What blocks and queries vary by is inside the spread of the
    launches; resampling blocks as well would count it twice (Davison & Hinkley).
    """
    ordered = np.sort(values)
    cut = 1 if len(values) >= TRIMMED else 0
    kept = len(values) - 2 * cut
    winsorized = np.clip(ordered, ordered[cut], ordered[len(values) - 1 - cut])
    squares = float(((winsorized - winsorized.mean()) ** 2).sum())
    return float(ordered[cut : cut + kept].mean()), math.sqrt(squares / (kept * (kept - 1))), kept - 1


def _launch_ratios(logs_a: Array, logs_b: Array, q: float) -> Array:
    """The log ratio of each launch, from logarithms of shape (launches, blocks, queries)."""
    if q != 0.5:
        return np.asarray(np.quantile(logs_b, q, axis=(1, 2)) - np.quantile(logs_a, q, axis=(1, 2)))
    partners = range(min(logs_a.shape[2], PARTNERS))
    pairs = np.concatenate([logs_b - np.roll(logs_a, shift, axis=2) for shift in partners], axis=2)
    return np.asarray(np.median(pairs, axis=(1, 2)))


def _percentile_error(times: Array, q: float) -> float:
    """Standard error of the log quantile of all times, from resampled launches and blocks in them.

    L launches drawn from L vary too little by (L − 1) / L, which is put right.
    """
    launches, blocks, _ = times.shape
    rng = np.random.default_rng(0)
    values = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(launches, size=(launches, 1))
        values[draw] = np.quantile(times[chosen, rng.integers(blocks, size=(launches, blocks))], q)
    return float(np.log(values).std(ddof=1)) * math.sqrt(launches / (launches - 1))


def _order_bounds(times: Array, q: float, alpha: float) -> Percentile:
    """Bounds of one launch, shape (blocks, queries): the times at ranks around q · n."""
    ordered = np.sort(times, axis=None)
    n, value = len(ordered), float(np.quantile(ordered, q))
    cdf = _binomial_cdf(n, q)
    stretch = _stretch(times > value, q, alpha)
    low = math.floor(n * q - (n * q - int(np.sum(cdf <= alpha))) * stretch)
    high = math.ceil(n * q + (int(np.sum(cdf < 1 - alpha)) + 1 - n * q) * stretch)
    return Percentile(
        value=value,
        low=float(ordered[low - 1]) if low >= 1 else 0.0,
        high=float(ordered[high - 1]) if high <= n else None,
    )


def _stretch(above: Array, q: float, alpha: float) -> float:
    """How much wider than independent queries the ranks must lie, from which times are `above` the quantile.

    Neighbouring blocks may resemble each other too, so longer and longer batches are asked while enough remain.
    """
    widest = 0.0
    while True:
        batches, queries = above.shape
        inflation = float(above.mean(axis=1).var(ddof=1)) * queries / (q * (1 - q))
        widest = max(widest, math.sqrt(max(1.0, inflation)) * t_quantile(1 - alpha, batches - 1))
        if batches < 2 * FEW:
            return widest / NormalDist().inv_cdf(1 - alpha)
        above = above[: batches // 2 * 2].reshape(batches // 2, 2 * queries)


def _binomial_cdf(n: int, q: float) -> Array:
    """P(count ≤ k) for k = 0 … n."""
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_p = factorial[n] - factorial[k] - factorial[n - k] + k * math.log(q) + (n - k) * math.log1p(-q)
    return np.cumsum(np.exp(log_p))


def _checked(times: Array, launches: int = 1) -> Array:
    """Times of the right shape, none of them zero."""
    if times.ndim != 3 or times.shape[1] < 2 or len(times) < launches or 0 in times.shape:
        raise ConfigError(
            f"times of shape {times.shape} have no bounds",
            hint=f"measure (launches, blocks, queries): at least {launches} launches and 2 blocks",
        )
    return np.maximum(times, _FINEST)


def _launched(values: Array) -> Array:
    """Positive values of at least two launches."""
    if values.ndim != 1 or len(values) < 2 or not np.all(values > 0):
        raise ConfigError(f"values of shape {values.shape} have no bounds", hint="measure two launches or more")
    return values
