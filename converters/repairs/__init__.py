"""Known causes of ruined integer files, removed between the float file and the quantised one.

Imports what the converters import.
"""
