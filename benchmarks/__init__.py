"""Measurements of fastwsi beside what a user would write or install instead; see README.md."""
