"""Random cameras and boxes for property tests."""

from hypothesis import strategies as st

from deixis.geometry import Box3D, BoxPx, Camera

SIDES = st.integers(8, 6000)


def finite(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    width, height = draw(SIDES), draw(SIDES)
    return Camera(
        draw(finite(50, 5000)),
        draw(finite(50, 5000)),
        draw(finite(-100, width + 100)),
        draw(finite(-100, height + 100)),
        width,
        height,
    )


@st.composite
def boxes_px(draw: st.DrawFn, width: int = 1000, height: int = 1000) -> BoxPx:
    x1, x2 = sorted((draw(finite(0, width)), draw(finite(0, width))))
    y1, y2 = sorted((draw(finite(0, height)), draw(finite(0, height))))
    return x1, y1, x2, y2


@st.composite
def boxes_3d(draw: st.DrawFn, spread: float = 1.0) -> Box3D:
    place = [draw(finite(-spread, spread)), draw(finite(-spread, spread)), draw(finite(2.0, 2.0 + spread))]
    size = [draw(finite(0.1, 2.0)) for _ in range(3)]
    turns = [draw(finite(-1, 1)) for _ in range(3)]
    return Box3D.from_qwen([*place, *size, *turns])
