"""Checks that stop work early: ranges of settings, numbers that have to stay finite."""
