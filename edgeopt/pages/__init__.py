"""What people look at: the HTML report of files and runs, and the table that compares them.

May import every workflow; nothing but the command line imports it. Jinja2, which only pages need, is loaded when a page
is made, and no page needs TensorFlow.
"""
