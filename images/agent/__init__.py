"""The agent inside the in-RAM installer: says hello, waits for work, installs, erases, and hands the machine over.

It runs from an initramfs with a bare Python: standard library only, blocking calls, and neither `dataclasses` nor
`typing` at run time, whose imports alone cost a tenth of a second on a slow machine.
"""
