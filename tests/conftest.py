"""What all tests share: hypothesis judges values, never time (machines are shared, and speed is measured in bench/)."""

from hypothesis import HealthCheck, settings

settings.register_profile("forebay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forebay")
