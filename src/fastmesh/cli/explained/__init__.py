"""What `fastmesh explain` says, a file for each thing that there is something to say of."""
