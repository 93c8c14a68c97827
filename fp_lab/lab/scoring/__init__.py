"""Scoring of an arm's videos by every metric, against their truth, as means with intervals."""
