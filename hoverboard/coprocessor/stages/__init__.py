"""The stages that come with Hoverboard, one file each; other stages are found by path or entry point."""
