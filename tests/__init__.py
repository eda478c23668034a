"""Behaviour, checked against real servers."""
