"""The stages that come with Hoverboard, one file each; a student's own is found by path or entry point."""
