"""What happens to documents: pure stages, Arrow tables in, Arrow tables out."""
