package app

import "net/http"

// SetGateway gives a handler to gatewayRoutes before the agent runs.
func (a *App) SetGateway(h http.Handler) { a.gateway = h }
