"""Chat rooms (XEP-0045) whose home is this worker: a pure core that is told the time and says what is to be sent."""
