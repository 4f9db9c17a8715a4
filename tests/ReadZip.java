import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads every member of a ZIP, by its directory and then as a stream: name, size, CRC-32. */
public class ReadZip {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws IOException {
        try (ZipFile archive = new ZipFile(arguments[0])) {
            for (ZipEntry entry : Collections.list(archive.entries())) {
                try (InputStream content = archive.getInputStream(entry)) {
                    tell(entry, content);
                }
            }
        }
        try (ZipInputStream stream = new ZipInputStream(new FileInputStream(arguments[0]))) {
            for (ZipEntry entry; (entry = stream.getNextEntry()) != null; ) {
                tell(entry, stream);
            }
        }
    }

    private static void tell(ZipEntry entry, InputStream content) throws IOException {
        CRC32 crc = new CRC32();
        long size = 0;
        byte[] buffer = new byte[1 << 16];
        for (int count; (count = content.read(buffer)) > 0; size += count) {
            crc.update(buffer, 0, count);
        }
        OUT.println(entry.getName() + " " + size + " " + crc.getValue());
    }
}
