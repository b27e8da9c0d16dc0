"""What an earlier run left behind: bridges, calls and recordings."""
