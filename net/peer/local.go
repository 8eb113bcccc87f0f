package peer

import "context"

func (n *Network) findLocal(ctx context.Context) {}
