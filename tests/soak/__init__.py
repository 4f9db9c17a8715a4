"""Many workers under a chaos that kills, freezes, cuts and restarts, watched all the while."""
