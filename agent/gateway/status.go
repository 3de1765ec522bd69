package gateway

import (
	"context"
	"encoding/json"
	"fmt"

	"gatehouse/agent/site"
)

// The bodies of engage.md section 3, with their members in its order.

type sensorStatus struct {
	RexActive            string `json:"rexActive"`
	FdrActive            string `json:"fdrActive"`
	TamperOpen           string `json:"tamperOpen"`
	MagTamperDetected    string `json:"magTamperDetected"`
	RTCBatteryStatus     string `json:"rtcBatteryStatus"`
	Locked               string `json:"locked"`
	PrimaryBatteryStatus string `json:"primaryBatteryStatus"`
	DoorOpen             string `json:"doorOpen"`
}

type lockStatus struct {
	CurrentLockState string `json:"currentLockState"`
}

type deviceStatus struct {
	LinkID       string       `json:"linkId"`
	SensorStatus sensorStatus `json:"sensorStatus"`
	LockStatus   lockStatus   `json:"lockStatus"`
}

type battV struct {
	Main float64 `json:"main"`
	Li   float64 `json:"li"`
}

type linkEntry struct {
	LinkID         string `json:"linkId"`
	LinkCommStatus string `json:"linkCommStatus"`
	DeviceName     string `json:"deviceName"`
	ModelType      string `json:"modelType"`
	DeviceID       string `json:"deviceId"`
	MACAddr        string `json:"macAddr"`
	MACType        string `json:"macType"`
	BattV          battV  `json:"battV"`
}

type linkInfo struct {
	LinkID         string `json:"linkId"`
	DeviceID       string `json:"deviceId"`
	DeviceName     string `json:"deviceName"`
	LinkCommStatus string `json:"linkCommStatus"`
	ModelType      string `json:"modelType"`
}

type scanned struct {
	MainSn        string `json:"mainSn"`
	DeviceName    string `json:"deviceName"`
	SignalQuality string `json:"signalQuality"`
	ModelType     string `json:"modelType"`
}

func flag(on bool) string {
	if on {
		return "T"
	}
	return "F"
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// states are the literals of currentLockState. sec and frznSec have been seen; the
// others are candidates.
var states = map[site.Mode]string{
	site.ModeSecured: "sec", site.ModePassage: "pass", site.ModeFrozenSecured: "frznSec",
	site.ModeFrozenPassage: "frznPass", site.ModeLockdown: "frznSec", site.ModeDisabled: "frznSec",
}

// statusOf asks for the status of one device.
func (g *Gateway) statusOf(l *link) (deviceStatus, error) {
	ask := g.deps.Locks.Status
	if l.live() {
		ask = g.deps.Site.Status
	}
	s, err := ask(l.Door)
	if err != nil {
		return deviceStatus{}, fmt.Errorf("%s: %w", l.linkID, err)
	}
	return deviceStatus{l.linkID, sensorStatus{
		RexActive: flag(s.Rex), FdrActive: flag(s.Fault), TamperOpen: flag(s.Tamper), MagTamperDetected: flag(s.MagTamper),
		RTCBatteryStatus: or(s.RTCBattery, "normal"), Locked: flag(s.Locked), PrimaryBatteryStatus: or(s.Battery, "normal"), DoorOpen: flag(s.Open),
	}, lockStatus{or(s.State, states[s.Mode])}}, nil
}

func (g *Gateway) status(_ context.Context, r *request) reply {
	s, err := g.statusOf(r.link)
	if err != nil {
		return g.failed(err)
	}
	return answer(200, struct {
		EdgeDevice deviceStatus `json:"edgeDevice"`
	}{s})
}

// statusAll answers for all devices whose status is known.
func (g *Gateway) statusAll(context.Context, *request) reply {
	list := []deviceStatus{}
	for _, l := range g.links.all() {
		if s, err := g.statusOf(l); err == nil {
			list = append(list, s)
		}
	}
	return answer(200, struct {
		EdgeDevice []deviceStatus `json:"edgeDevice"`
	}{list})
}

// comm is the linkCommStatus of a device.
func (g *Gateway) comm(l *link) string {
	connected := false
	if l.live() {
		_, err := g.deps.Site.Status(l.Door)
		connected = err == nil
	} else {
		connected = g.deps.Locks.Info(l.Door).Connected
	}
	if connected {
		return "Connected"
	}
	return "Disconnected"
}

func (g *Gateway) entries() []linkEntry {
	list := []linkEntry{}
	for _, l := range g.links.all() {
		e := linkEntry{LinkID: l.linkID, LinkCommStatus: g.comm(l), DeviceName: l.Name, ModelType: l.model(), DeviceID: l.deviceID}
		if !l.live() {
			info := g.deps.Locks.Info(l.Door)
			e.MACAddr, e.BattV = info.MAC, battV{info.Main, info.Li}
		}
		list = append(list, e)
	}
	return list
}

func (g *Gateway) linkList(context.Context, *request) reply {
	return answer(200, struct {
		LinkList []linkEntry `json:"linkList"`
	}{g.entries()})
}

// deviceInfo lists the gateway and its links; the vendor's body is not public.
func (g *Gateway) deviceInfo(context.Context, *request) reply {
	type info struct {
		MainSn          string      `json:"mainSn"`
		DeviceID        string      `json:"deviceId"`
		DeviceName      string      `json:"deviceName"`
		ModelType       string      `json:"modelType"`
		FirmwareVersion string      `json:"firmwareVersion"`
		LinkList        []linkEntry `json:"linkList"`
	}
	return answer(200, struct {
		DeviceInfo info `json:"deviceInfo"`
	}{info{g.cfg.Serial, g.deviceID, g.cfg.Name, "gateway", g.cfg.Version, g.entries()}})
}

// scanList lists the Wi-Fi locks of the settings that are not linked.
func (g *Gateway) scanList(context.Context, *request) reply {
	list := []scanned{}
	for _, l := range g.links.list {
		if !g.links.linked(l) {
			list = append(list, scanned{l.Serial, l.Name, or(g.deps.Locks.Info(l.Door).Signal, "Med"), l.model()})
		}
	}
	return answer(200, struct {
		GatewayScanList []scanned `json:"gatewayScanList"`
	}{list})
}

// linkDevice links a device by its deviceId, or by its serial as a scan gives it. One
// that is linked stays so.
func (g *Gateway) linkDevice(_ context.Context, r *request) reply {
	var body struct {
		DeviceID string `json:"deviceId"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.DeviceID == "" {
		return message(400, invalidTag)
	}
	for _, l := range g.links.list {
		if !sameID(l, body.DeviceID) {
			continue
		}
		if !g.links.linked(l) {
			if err := g.links.change(func(k *kept) { delete(k.Unlinked, l.Door) }); err != nil {
				return g.failed(err)
			}
		}
		return answer(201, struct {
			LinkInfo linkInfo `json:"linkInfo"`
		}{linkInfo{l.linkID, l.deviceID, l.Name, g.comm(l), l.model()}})
	}
	return message(404, "Unknown deviceId")
}

// unlinkDevice unlinks a Wi-Fi lock. It keeps its linkId for when it is linked again.
func (g *Gateway) unlinkDevice(_ context.Context, r *request) reply {
	if r.link.live() {
		return message(403, "This device is a part of the gateway and stays linked")
	}
	if err := g.links.change(func(k *kept) { k.Unlinked[r.link.Door] = true }); err != nil {
		return g.failed(err)
	}
	return reply{status: 200}
}
