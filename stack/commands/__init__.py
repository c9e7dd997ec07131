"""What each `mesocycle` command does, by theme."""
