"""The read API: serves what marts and plans hold, takes plan requests and onboarding events. Never imports orchestration."""
