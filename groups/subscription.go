package groups

import "encoding/binary"

// consumerProtocolType is the protocol type of ordinary consumers; Connect and others
// have their own, whose bytes we do not understand.
const consumerProtocolType = "consumer"

// topicsOf reads the topics out of a consumer's subscription, or returns nil if the
// bytes are something else. All versions of the format begin alike (version, topics),
// so a version newer than ours can be read too.
func topicsOf(subscription []byte) []string {
	if len(subscription) < 6 {
		return nil
	}
	count := int(int32(binary.BigEndian.Uint32(subscription[2:])))
	rest := subscription[6:]
	if count < 0 || count > len(rest)/2 {
		return nil
	}
	topics := make([]string, 0, count)
	for range count {
		if len(rest) < 2 {
			return nil
		}
		n := int(int16(binary.BigEndian.Uint16(rest)))
		rest = rest[2:]
		if n < 0 || n > len(rest) {
			return nil
		}
		topics = append(topics, string(rest[:n]))
		rest = rest[n:]
	}
	return topics
}

// topicsOfMember returns what one member subscribed to in this generation; nil if that
// is not known.
func (g *group) topicsOfMember(m *member) []string {
	if g.protocolType != consumerProtocolType {
		return nil
	}
	return topicsOf(m.metadata(g.protocol))
}

// subscribedTopics joins the topics of all members; nil if they are not known.
func (g *group) subscribedTopics() map[string]struct{} {
	if g.protocolType != consumerProtocolType {
		return nil
	}
	all := make(map[string]struct{})
	for _, m := range g.members {
		topics := g.topicsOfMember(m)
		if topics == nil {
			return nil
		}
		for _, t := range topics {
			all[t] = struct{}{}
		}
	}
	return all
}

// subscribedTo says whether the group consumes the topic; a group of consumers whose
// topics are not known is taken to consume all.
func (g *group) subscribedTo(topic string) bool {
	if len(g.members) == 0 || g.protocolType != consumerProtocolType {
		return false
	}
	if g.topics == nil {
		return true
	}
	_, ok := g.topics[topic]
	return ok
}

// sameTopics compares two subscriptions without regard to order and repetition.
func sameTopics(a, b []string) bool {
	return coveredBy(a, b) && coveredBy(b, a)
}

func coveredBy(a, b []string) bool {
	have := make(map[string]struct{}, len(b))
	for _, t := range b {
		have[t] = struct{}{}
	}
	for _, t := range a {
		if _, ok := have[t]; !ok {
			return false
		}
	}
	return true
}
