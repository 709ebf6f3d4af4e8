"""The command line. Files and printing live here; the rooms below compute."""
