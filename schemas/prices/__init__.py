"""What a call costs: the price book, from published lists and the operator's entries to leaves."""
