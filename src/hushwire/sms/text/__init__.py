"""What stands in a text message: alphabets, parts, headers, words that mean stop. Pure."""
