"""What in a text belongs to a person or opens a door: finders, and the checks that tell such numbers from others."""
