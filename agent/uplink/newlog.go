package uplink

import (
	"fmt"

	"gatehouse/agent/site"
)

// NewLogMessage is the event that precedes the first one of another log, for a
// subscription to source: an audit 0605 (audits lost: continuity cannot be
// proven), with the log's id beside the audits.
func NewLogMessage(source Source, gateway Serial, first site.Event) Message {
	return Message{
		Source: source, Type: "Audit", DeviceID: gateway.DeviceID(),
		Body: fmt.Sprintf(`{%q:{"log":%q,"audits":[{"event":"06050000","time":%q}]}}`,
			source, first.Log, first.Time.Format(stampLayout)),
	}
}
