"""What people start: the command line. Files, devices and printing live here; the rooms below compute."""
