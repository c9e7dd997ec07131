{{ onboarding_events() }}
