"""Types of the compiled taker of frames about subjects."""

from megaphone.bus.local import FrameTaker
from megaphone.bus.subjects import Subjects

class SubjectFrames(FrameTaker):
    """What the other workers say goes to `subjects`."""

    subjects: Subjects
