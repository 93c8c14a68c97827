"""Scoring: an arm's videos by every metric, their truth, means with intervals."""
