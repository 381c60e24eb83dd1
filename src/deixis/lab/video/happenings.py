"""The happenings of a video by name: each takes a Director, does one thing on its stage, and says whether it could.

Knows which there are. Does not know how each goes, nor pixels. A new happening is one function and one line here.
"""

from collections.abc import Callable, Mapping

from deixis.lab.video.director import Director
from deixis.lab.video.entrances import put_in, take_away, take_out
from deixis.lab.video.hiding import behind, carry_along, come_out, cover, reveal
from deixis.lab.video.in_the_open import carry, drop, push, roll, swap

HAPPENINGS: Mapping[str, Callable[[Director], bool]] = {
    "roll": roll,
    "drop": drop,
    "carry": carry,
    "push": push,
    "cover": cover,
    "reveal": reveal,
    "carry_along": carry_along,
    "behind": behind,
    "come_out": come_out,
    "swap": swap,
    "take_out": take_out,
    "take_away": take_away,
    "put_in": put_in,
}
