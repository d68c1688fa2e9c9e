"""Measured patterns in, predictions out.

`readers` opens a file of any format (`columns` plain text, `headers` what is said of the
measurement), `measured` checks what was read, `cleanup` makes the models' input of it.
"""
