"""Every Prometheus metric: tables of them, and what makes samples of the counter boards and the supervisor's facts."""
