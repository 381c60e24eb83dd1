"""World `desk`: sixteen kinds of things that lie on desks, in real sizes.

Knows which kinds there are and their colours. Their shapes are in desk_devices.py and desk_things.py.
Colours are those in which a person has seen such a thing, without any that its other parts have by themselves
(no blue monitor: screens are bluish; no green pot: leaves are green; no gray USB stick: plugs are gray).
"""

from deixis.lab.worlds import desk_devices as devices
from deixis.lab.worlds import desk_things as things
from deixis.lab.worlds.world import ALL_COLORS, Kind, World


def _all_but(*names: str) -> tuple[str, ...]:
    return tuple(color for color in ALL_COLORS if color not in names)


WORLD = World.of(
    "desk",
    {
        "laptop": Kind("笔记本电脑", ("gray", "white", "black", "pink", "red", "yellow", "purple"), devices.laptop),
        "keyboard": Kind("键盘", ("black", "white", "gray", "pink", "blue", "red", "yellow", "purple", "cyan"), devices.keyboard),
        "mouse": Kind("鼠标", _all_but("brown"), devices.mouse),
        "monitor": Kind("显示器", ("black", "gray", "white", "pink", "red", "yellow"), devices.monitor),
        "cup": Kind("杯子", ALL_COLORS, things.cup),
        "bottle": Kind("瓶子", ALL_COLORS, things.bottle),
        "book": Kind("书", ALL_COLORS, things.book),
        "phone": Kind("手机", _all_but("brown"), devices.phone),
        "usb stick": Kind("U盘", _all_but("gray", "brown"), devices.usb_stick),
        "router": Kind("路由器", ("white", "black", "gray", "blue", "red"), devices.router),
        "lamp": Kind("台灯", ALL_COLORS, things.lamp),
        "plant": Kind("植物", _all_but("green"), things.plant),
        "pen": Kind("笔", _all_but("gray", "brown"), things.pen),
        "box": Kind("盒子", ALL_COLORS, things.carton),
        "ball": Kind("球", _all_but("gray", "brown"), things.ball),
        "headphones": Kind("耳机", _all_but("brown"), devices.headphones),
    },
)
