"""Boards: what is known of each kind, the user's inventory of them, and setting one up.

This room imports the light rooms only.
"""
