import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** For each topic that is named on a line of its input, prints what Kafka's own consumer reads there at this moment. */
class CommittedReader {
    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("isolation.level", args[1]);
        p.put("key.deserializer", ByteArrayDeserializer.class.getName());
        p.put("value.deserializer", ByteArrayDeserializer.class.getName());
        p.put("default.api.timeout.ms", "60000");
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            for (String topic = in.readLine(); topic != null; topic = in.readLine()) {
                read(consumer, topic, out);
                out.println(".");
                out.flush();
            }
        }
    }

    static void read(KafkaConsumer<byte[], byte[]> consumer, String topic, PrintStream out) {
        List<TopicPartition> all = consumer.partitionsFor(topic).stream()
            .map(i -> new TopicPartition(topic, i.partition())).toList();
        consumer.assign(all);
        consumer.seekToBeginning(all);
        // With read_committed the end is in front of the first transaction that is open.
        Map<TopicPartition, Long> ends = consumer.endOffsets(all);
        while (all.stream().anyMatch(tp -> consumer.position(tp) < ends.get(tp))) {
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                StringBuilder line = new StringBuilder();
                line.append(r.partition()).append(' ').append(r.offset()).append(' ').append(r.timestamp());
                line.append(' ').append(text(r.key())).append(' ').append(text(r.value()));
                for (Header h : r.headers()) {
                    line.append(' ').append(text(h.key().getBytes())).append('=').append(text(h.value()));
                }
                out.println(line);
            }
        }
    }

    static String text(byte[] b) {
        return b == null ? "-" : "\"" + Base64.getUrlEncoder().withoutPadding().encodeToString(b) + "\"";
    }
}
