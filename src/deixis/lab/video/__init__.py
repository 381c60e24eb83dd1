"""Videos whose truth is known: things on a desk that roll, fall, are carried, hidden, swapped and taken away.

Knows the way from (seed, index) to motion, frames, states, events and questions. The parts, in the order of that way: stage.py
(physics), happenings.py and director.py (what is done), clip.py (one video), filming.py and truth.py (what shows), events.py,
case.py (all of it together), questions.py, make.py (files), lessons.py (training), watched.py (a watcher's account beside the
truth) and the measures of it.
"""
