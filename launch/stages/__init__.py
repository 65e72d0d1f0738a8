"""One file a stage, named as the stage."""
