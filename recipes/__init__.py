"""What a run is: the schema of a recipe, its loader, and the recipes themselves. No torch here."""
