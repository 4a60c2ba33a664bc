"""The pages of a controller: server-rendered HTML about DAGs, and the frame for other pages."""
